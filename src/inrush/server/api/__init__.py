"""The management API: JSON over HTTP below `/api/v1`, described at `/api/openapi.json` and, for people, at
`/api/docs`."""
