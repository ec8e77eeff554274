"""Selling credit: the provider contract, orders, webhooks, refunds, disputes. Knows no route and no proxy.

A provider moves money and is asked what is so; it never touches our books. What an order, a payment, a refund or a
dispute does to a wallet stands in the books_* modules, once for all providers.
"""
