"""Mining strategies beside peers: `similar` beside exact all-pairs search, `overlap` beside MinHashLSH."""
