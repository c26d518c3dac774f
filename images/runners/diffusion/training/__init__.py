"""How `diffusion-tiny` is made: draw pictures, train on them, judge the result from pixels."""
