"""The program that a command runs: found in a file, its signature as options, watched for changes."""
