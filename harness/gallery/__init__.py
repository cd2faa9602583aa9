"""Pictures of a study's data, and of what a run of it answers; a command."""
