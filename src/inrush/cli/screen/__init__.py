"""What people see: tables, running programs, terminals, logs, and how errors end a command."""
