"""How solvers are raced: problems, reference optima, contenders, workers, rounds and reports."""
