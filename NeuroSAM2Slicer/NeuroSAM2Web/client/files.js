// What a page can do that trame has no word for: send a file with progress, and take one that is dropped on the page.
window.neurosam2_files = {
  upload(file) {
    if (!file) return;
    const set = (values) => Object.entries(values).forEach(([key, value]) => window.trame.state.set(key, value));
    const largest = window.trame.state.get("files_largest");
    if (largest && file.size > largest) {
      set({ files_problem: `${file.name} is too large to upload. Put it into a folder of this computer and open it from there.` });
      return;
    }
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => set({ files_percent: Math.round((100 * event.loaded) / Math.max(1, event.total)) });
    request.onload = () => set({ files_percent: -1, files_problem: request.status < 300 ? "" : request.responseText });
    request.onerror = () => set({ files_percent: -1, files_problem: `${file.name} could not be sent. Is the app still running?` });
    set({ files_percent: 0, files_problem: "", files_opens: false });
    request.open("POST", `files/upload?name=${encodeURIComponent(file.name)}`);
    request.send(file);
  },
};
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => {
  event.preventDefault();
  window.neurosam2_files.upload(event.dataTransfer.files[0]);
});
