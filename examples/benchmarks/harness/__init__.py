"""What the speed comparisons share: systems, measuring process, environments, report."""
