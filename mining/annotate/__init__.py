"""What models say of image sets: comparisons, questions and answers, choices, ratings, written as annotations."""
