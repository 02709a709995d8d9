"""What operators and Worker authors write down: wrangler configuration files, and the platform's own."""
