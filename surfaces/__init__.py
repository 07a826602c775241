"""Volatility smiles and surfaces in log-moneyness k and total variance w."""
