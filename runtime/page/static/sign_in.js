// A link with the secret behind "#" signs in by itself; browsers do not send that part to a server, and no log has it.

function useLink() {
  const secret = location.hash.slice(1);
  if (!secret) return;
  history.replaceState(null, "", location.pathname);
  document.getElementById("secret").value = secret;
  document.getElementById("sign-in").submit();
}

addEventListener("hashchange", useLink);
useLink();
