"""What is measured beside and after the sweep: control task, cumulative curve, screening, attribution."""
