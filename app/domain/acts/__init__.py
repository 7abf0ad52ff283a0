"""What is done to a ticket, in modules by reason to change; every act returns events and nothing else."""
