"""The management API: JSON over HTTP below `/api/v1`. `/api/openapi.json` describes it, and `/api/docs` shows that to
people."""
