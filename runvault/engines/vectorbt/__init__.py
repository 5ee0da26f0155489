"""vectorbt portfolios into tables and back: the only room that knows vectorbt.

=====================================  ================================================================
``extract.extract(pf)``                a `Result`: numbers, tables, the manifest's ``portfolio`` member
``sweep.extract_sweep(pf)``            a `Sweep`: one outcome a column over shared tables
``rebuild.rebuild(tables)``            an equal ``vectorbt.Portfolio``
``curves.equity_from_tables(tables)``  the equity curve that a sweep's run does not store
``curves.trades_from_tables(tables)``  its trades
``statistics``                         statistics to a table, back, and to the Series of ``pf.stats()``
``pickles.load_pickle(data)``          the only reader of pickles
``extend.extend_vectorbt()``           gives portfolios a ``save_to_vault``
=====================================  ================================================================

Import the module that has the function: some need seconds for vectorbt and pandas, and this package imports none.
"""
