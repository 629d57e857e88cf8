"""The Workforce resource: pydantic models of spec and status, and the generator of its CustomResourceDefinition."""
