"""Any teacher, any student: the claim of Ranking Distillation's abstract, tested."""
