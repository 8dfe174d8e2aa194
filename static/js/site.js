// Where this site begins: at "/", or under a path of its own behind another front. Two folders above our scripts.

const root = new URL("../../", import.meta.url).pathname;

/** An address of ours ("/vms/") as the browser has to ask for it. Addresses that the server names are that already. */
export function ours(path) {
  return root + path.slice(1);
}

/** The same for a socket. */
export function ourSocket(path) {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${ours(path)}`;
}
