"""One module for each delivery contract, written from its description alone. Each has

    check(headers, body, secrets, now) -> the parsed body

which raises ValueError for a request that a receiver of the contract has to refuse. `headers` are pairs of name and
value as they came, `body` the bytes as they came, `secrets` what the receiver knows, `now` its clock in seconds.
"""
