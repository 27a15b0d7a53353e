"""How each stage works, in words for the reader of the report, and its sources."""

from __future__ import annotations

#: Title and one sentence on what the stage is for, in the order of the case.
TITLES: dict[str, tuple[str, str]] = {
    "ingest": ("Images", "DICOM read right or refused, and brought into patient space."),
    "segment": ("Bones", "Sacrum, hip bones and L5 taken apart on the planning CT."),
    "tumour": ("Tumour", "Extent at each time point, and the response to treatment."),
    "plan": ("Resection plan", "Where the bone is cut, with which margin, and where screws may go."),
    "prototype": ("Prototypes and review", "Printed models, corrections between them, and the decision."),
    "implant": ("Implant", "The outer solid, its dense regions, and its fit."),
    "lattice": ("Porous structure", "The lattice as a field, measured."),
    "strength": ("Strength", "Stiffness of the cell and stress in the implant under the loads of the case."),
    "build": ("Build file", "Layers, contours and hatches for the machine, read back and checked."),
    "inspect": ("Inspection of the print", "The printed part measured against the design."),
    "release": ("Release", "What goes to the theatre."),
    "followup": ("Follow-up", "Migration, fusion of each face and ingrowth over time."),
    "audit": ("Records", "The chain of jobs, digests and signatures behind this report."),
}

#: How each stage works.
METHODS: dict[str, str] = {
    "ingest": "Slices are ordered by their position in space, not by number or name. A series is refused when a slice "
    "is missing or doubled, when spacing or orientation are not uniform, when the gantry was tilted, or when patient "
    "identity differs between series. Only listed header fields are carried on; UIDs are replaced.",
    "segment": "Voxels at or above the threshold count as bone. A shape prior is fitted to the edges of bone in the "
    "CT; where two bones dispute a voxel, a minimum cut along the dark sheet of the joint decides. Each surface is "
    "taken at the local half-maximum, in patient space, and remeshed in fewer triangles within a stated distance. The "
    "result is a proposal until a person confirms it at the labels gate.",
    "tumour": "The tumour is measured on each time point's own image and brought to the planning CT by rigid "
    "registration (mutual information). Volume is counted from the segmentation; axes follow RECIST 1.1 (Eisenhauer "
    "2009, doi:10.1016/j.ejca.2008.10.026) and WHO (Miller 1981). π/6·abc is shown only for comparison. Reported "
    "figures are tested for the formula, if any, that reproduces them. Size is a weak sign of response in "
    "osteosarcoma.",
    "plan": "The sacral mid-plane is found from the symmetry of the bone; resection planes follow from it, from the "
    "joints and from the margin. The bone margin is the least distance from an osteotomy to the union of the tumour's "
    "extents at the time points that the plan names. Corridors are cylinders kept inside bone by the stated clearance. "
    "Rods are bent as little as heads, bone and bender allow, and every pair of parts is checked for room they share. "
    "Where the plan says so the outer shape near the tumour is the mirrored healthy side's, moved onto the intact bone "
    "about it and blended in.",
    "prototype": "Each iteration names its parent, its plan and its corrections; nothing is edited in place. A later "
    "MR or a larger margin makes a new plan revision, on which the shape is made anew through all corrections. The "
    "difference to the parent is the Hausdorff distance of the surfaces. An approval is bound to the SHA-256 of the "
    "files that were reviewed.",
    "implant": "The implant takes the specimen's outer shape, less the clearances of the case. Gaps are measured from "
    "the contact faces to the bone they meet. Outside the regions listed on the review sheet it must equal the "
    "approved iteration within 0.05 mm.",
    "lattice": "Metal is where a signed function is negative: inside the solid, and inside the dense regions or the "
    "periodic cell. Density, pores, throats and struts are measured from this field, the same one that is sliced.",
    "strength": "The cell's stiffness is computed by finite elements on the field (periodic homogenisation); the "
    "implant is then loaded with that material in its porous region. Linear elastic; stresses are compared with a "
    "fatigue strength. Loads, material and supports are the case's own. Where rods and screws are given they share the "
    "load as a frame of beams.",
    "build": "Every layer is cut from the field at the layer height. Contours and hatches are written as binary CLI "
    "(Common Layer Interface 2.0); beam settings go beside it as themes, since CLI carries geometry only. The file is "
    "read back by a reader that shares no code with the writer. The vendor's software makes the machine's own file "
    "from this one. The same lines stand in an open build file (OBF) as packets, in an order with shorter jumps; "
    "every packet is read back and held against the CLI file. Surface that leans more than the stated angle from the "
    "vertical and faces down is found on vertical columns through the part; where the case asks for supports, they are "
    "walls of single lines with teeth, read back like all else, and else none are drawn. Other "
    "orientations are compared by height, time, such surface and the room below it.",
    "inspect": "The scan is laid on the design by a rigid alignment from several starts that must agree; the deviation "
    "of the outer surface is signed, too much metal is positive. Size is a separate fit with one scale per axis of the "
    "build. Walls of holes and passages are not judged, since no scanner sees into them. The proposed compensation is "
    "what was drawn divided by what was measured.",
    "release": "Every file of the package is compared once more with what was approved: sides, digests, gates, checks. "
    "The STL travels as a DICOM Encapsulated STL object in the frame of the planning CT. The manufacturing record is a "
    "form for the people who make the device; until it is filled the release says so.",
    "followup": "The pelvis is found by bone that was not operated on, the implant by its own metal; migration is the "
    "motion of one in the other since the baseline. Faces are read along their normals, each with the least gap that "
    "would have been seen. Bone in the pores is a change against the baseline only: one per cent of metal more or less "
    "outweighs ten of bone, so a single scan cannot tell.",
    "audit": "Every job appends its inputs, outputs and code by SHA-256 to a hash-chained ledger; verification walks "
    "the chain and hashes every file again. These are technical controls; no regulatory compliance is claimed.",
}

#: What each method rests on; docs/methods.md has the formulas.
SOURCES: dict[str, str] = {
    "ingest": "DICOM PS3.3 C.7.6.2 (image plane), PS3.15 annex E (de-identification)",
    "segment": "Han et al. 2019, doi:10.1088/1361-6560/ab1456 (atlas, where configured); Boykov and Kolmogorov 2004, "
    "doi:10.1109/TPAMI.2004.60 (minimum cut)",
    "tumour": "Eisenhauer et al. 2009, doi:10.1016/j.ejca.2008.10.026 (RECIST 1.1); Miller et al. 1981 (WHO); Mattes "
    "et al. 2003, doi:10.1109/TMI.2003.809072 (mutual information)",
    "plan": "Geman and McClure 1987 (robust weights of the mirror registration); manifold3d (exact booleans)",
    "prototype": "Kim et al., the published case (prototypes corrected before the print)",
    "implant": "Kim et al., the published case (small gap and large contact area are wanted)",
    "lattice": "Schoen 1970, NASA TN D-5541 (gyroid)",
    "strength": "Zienkiewicz and Taylor, The Finite Element Method, vol. 1 (incompatible modes); "
    "loads, material and fatigue strength with their sources in the case config and below",
    "build": "Common Layer Interface (CLI) 2.0; Open Beam Path (OBP) and Open Build File (OBF)",
    "followup": "Kim et al., the published case (bone in the porous face, fusion at the dense strut)",
    "audit": "in-toto attestation, DSSE, RFC 8032 (Ed25519); RO-Crate 1.1, Workflow Run Crate 0.5",
}
