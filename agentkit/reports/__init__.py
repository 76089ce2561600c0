"""What tasks cost, and why: sums, unit costs, savings, alerts and advice from the journal."""
