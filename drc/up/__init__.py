"""`drc up`: a whole drc on this machine, made of the same programs that a large one runs."""
