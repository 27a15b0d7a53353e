"""Stage plan: sacral mid-plane, osteotomies with their margin, specimen and remaining bone, screw corridors."""
