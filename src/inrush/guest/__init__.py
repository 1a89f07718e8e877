"""The process inside a container: it loads user code, runs inputs, and says what came of them.

It speaks with its agent over one inherited socket (`frames`), with the standard library alone, since a user's
image may hold anything. `main` is where to begin reading: load, serve, leave.

    socket ──▶ pump (one thread: reads, deadlines) ──▶ inputs (who runs next) ──▶ threads | tasks ──▶ outbox ──▶ socket
"""
