const form = document.getElementById("choose");
form?.addEventListener("change", () => form.submit());

const box = document.getElementById("box");
const commands = document.getElementById("commands");

/** A word as a shell takes it. */
function quote(word) {
  return /^[\w@%+=:,.\/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function showCommands() {
  const { bundle, file, key, keyFile } = commands.dataset;
  const to = quote(box.value.trim() || "USER@BOX");
  commands.textContent = [
    `scp ${quote(bundle)} ${quote(key)} ${to}:`,
    `ssh -t ${to} sudo vedette keys trust ${quote(keyFile)}`,
    `ssh -t ${to} sudo vedette install ${quote(file)}`,
  ].join("\n");
}

if (box) {
  box.addEventListener("input", showCommands);
  showCommands();
}
