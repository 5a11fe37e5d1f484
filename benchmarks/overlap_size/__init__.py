"""`clipmine mine --strategy overlap` at the size of CaD-VI."""
