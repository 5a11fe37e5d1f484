"""Which of the proposed sets are made: the rules that proposals meet."""
