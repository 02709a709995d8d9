"""tenantry: a self-hosted Workers for Platforms."""
