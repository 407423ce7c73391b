// What a page can do that trame has no word for: send files with progress, and take files and folders that are dropped on the page.
const set = (values) => Object.entries(values).forEach(([key, value]) => window.trame.state.set(key, value));

// Sends one file; `sent` and `total` count the bytes of all files that are sent together.
function send(file, address, sent, total) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => set({ files_percent: Math.round((100 * (sent + event.loaded)) / Math.max(1, total)) });
    request.onload = () => resolve(request.status < 300 ? "" : request.responseText);
    request.onerror = () => resolve(`${file.name} could not be sent. Is the app still running?`);
    request.open("POST", address);
    request.send(file);
  });
}

// All files of what was dropped; folders are looked into.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = [];
  while (entries.length) {
    const entry = entries.pop();
    if (entry.isFile) files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    if (!entry.isDirectory) continue;
    const reader = entry.createReader();
    let part;
    do {
      part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      entries.push(...part);
    } while (part.length);
  }
  return files.filter((file) => !file.name.startsWith("."));
}

window.neurosam2_files = {
  async upload(files) {
    const all = [...files];
    if (!all.length) return;
    const total = all.reduce((size, file) => size + file.size, 0);
    const largest = window.trame.state.get("files_largest");
    const what = all.length === 1 ? `${all[0].name} is` : `${all.length} files are`;
    if (largest && total > largest) {
      set({ files_problem: `${what} too large to upload. Put it into a folder of this computer and open it from there.` });
      return;
    }
    set({ files_percent: 0, files_problem: "", files_opens: false });
    const batch = all.length === 1 ? "" : [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16)).join("");
    let sent = 0;
    let problem = "";
    for (const [number, file] of all.entries()) {
      const together = batch ? `&batch=${batch}&left=${all.length - 1 - number}` : "";
      problem = await send(file, `files/upload?name=${encodeURIComponent(file.name)}${together}`, sent, total);
      sent += file.size;
      if (problem) break;
    }
    set({ files_percent: -1, files_problem: problem });
  },
};
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => {
  event.preventDefault();
  dropped(event.dataTransfer).then(window.neurosam2_files.upload);
});
