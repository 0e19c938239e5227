"""HTTP handlers: parse, call, write; one module a resource."""
