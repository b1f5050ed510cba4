"""PURE. XML-RPC and JSON-RPC, strict and compact, and the way from a loose wire value to the type that a message declares.

`xmlrpc` and `jsonrpc` know bytes and plain values, `values` knows the XenAPI's types, `text` holds what both
wires share. What clients demand of the answers, letter by letter, is the reason for every encoder here.
"""
