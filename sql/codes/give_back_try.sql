-- It was a code after all: the try is not counted.
-- $1 account_id bigint
UPDATE credit_code_tries SET tries = greatest(tries - 1, 0) WHERE account_id = $1
