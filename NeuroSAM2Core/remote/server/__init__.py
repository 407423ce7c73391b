"""The worker process: accepts clients, schedules their requests and runs inference."""
