"""Glue for training programs that own the loop; each module needs the library that it is named after."""
