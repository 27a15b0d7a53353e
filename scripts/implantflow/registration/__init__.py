"""Rigid registration of the patient's images: by mutual information, by landmarks, and what must speak for either."""
