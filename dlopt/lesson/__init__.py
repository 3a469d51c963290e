"""What only the pages need: claims, figures, exercises, data sets, the problems of the lessons."""
