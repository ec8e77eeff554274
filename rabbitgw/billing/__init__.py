"""Money: accounts, keys, prices, wallets, holds, the ledger and what keeps them in agreement."""
