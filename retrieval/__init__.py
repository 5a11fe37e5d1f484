"""From a concept list to a selection of rows: search, rules, export. Knows no training and no Ray."""
