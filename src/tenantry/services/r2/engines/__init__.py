"""Where R2's bytes are kept. Each engine satisfies `tenantry.services.r2.engine.Engine`."""
