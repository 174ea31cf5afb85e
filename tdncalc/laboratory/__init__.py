"""The laboratory: many tensor products behind one interface, what each computes and what it costs.

========================= ======================================================================
``product``               the interface
``clebsch_gordan``        a weight for each path: e3nn, dense, sparse
``shared``                one constant tensor: a matrix per edge, CP factors
``tucker``                Tucker factors of that tensor
``grid``, ``fourier``     the Gaunt product by values on the sphere and by Fourier series
``matrix``                products of spherical matrices
``so2``                   the frame of the edge
``catalogue``             all of them by name, grouped by the map that they compute
``counting``              paths, output irreps, expressivity
``quality``               errors and counts of a product
``measure``, ``memory``   time and memory, the products in turns
``report``, ``plot``      text, CSV, picture
========================= ======================================================================
"""
