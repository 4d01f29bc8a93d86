"""SFT and DPO by TRL."""
