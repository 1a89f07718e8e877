"""The process inside a container: it loads user code, runs inputs and reports their results.

It speaks with its agent over one inherited socket (`frames`) and uses the standard library alone, since a user's image
may hold anything. Begin reading at `main`: load, serve, leave.

    socket ──▶ pump (one thread: reads, deadlines) ──▶ inputs (who runs next) ──▶ threads | tasks ──▶ outbox ──▶ socket
"""
