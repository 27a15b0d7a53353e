"""Closed solids as triangle meshes: booleans, primitives, offsets, distances, contacts, lettering.

Shared ground of every stage that cuts or builds a shape. Modules: ``mesh`` (the :class:`Solid` and its checks),
``booleans`` (manifold3d), ``shapes`` (boxes, cylinders, tubes), ``distance`` (signed distance, Hausdorff),
``offset`` (parallel surfaces), ``contact`` (contact faces and fit), ``lettering`` (embossed text).
All coordinates are millimetres in one frame, patient LPS unless said otherwise.
"""
