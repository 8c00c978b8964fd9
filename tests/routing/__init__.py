"""Any node takes any write and any query: nodes of one process whose databases are spread over all of them."""
