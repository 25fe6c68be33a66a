"""Reading an answer out of a response: a small pure function for each way of stating one."""
