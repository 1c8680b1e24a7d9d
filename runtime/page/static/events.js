// A filter applies as soon as it is chosen.

const form = document.getElementById("filters");
form.addEventListener("change", () => {
  for (const each of form.querySelectorAll("select")) each.disabled = !each.value; // keeps the address short
  form.submit();
});
