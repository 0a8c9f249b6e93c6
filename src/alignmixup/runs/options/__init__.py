"""What can be asked of runs: the options of commands, which the functions of `alignmixup.runs` take as keywords."""
