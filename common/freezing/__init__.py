"""Which stages train in which epoch, and features of frozen stages computed once."""
