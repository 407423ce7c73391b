// The 3D view: its picture is drawn by the server; dragging turns it, the wheel zooms.
window.NeuroSAM2Surfaces = {
  install(app) {
    const MAX_PX = 900, DEG_PER_PX = 0.5, WHEEL_STEP = 100;
    app.component("ns-surface-view", {
      inject: ["trame"],
      props: { number: Number },
      data: () => ({ shown: -1 }),
      template: `
        <div class="ns-view ns-surfaces" tabindex="0" role="img" aria-label="3D view" data-surfaces :data-shown3d="shown" :data-number3d="number"
          @pointerdown="down" @pointermove="move" @pointerup="up" @pointercancel="up" @wheel.prevent="wheel" @keydown="key">
          <canvas ref="canvas"></canvas>
        </div>`,
      watch: { number() { this.paint(); } },
      mounted() {
        this.last = null;
        this.turned = [0, 0, 0];
        this.observer = new ResizeObserver(() => this.paint());
        this.observer.observe(this.$el);
      },
      beforeUnmount() {
        this.observer.disconnect();
        this.isGone = true;
      },
      methods: {
        async paint() {
          if (this.isBusy) return;
          this.isBusy = true;
          try {
            while (!this.isGone && this.isOutOfDate()) await this.fetchPicture();
          } finally {
            this.isBusy = false;
          }
        },
        size() {
          const width = this.$el.clientWidth, height = this.$el.clientHeight;
          const scale = Math.min(window.devicePixelRatio || 1, MAX_PX / Math.max(width, height, 1));
          return { width: Math.round(width * scale), height: Math.round(height * scale) };
        },
        isOutOfDate() {
          const { width, height } = this.size(), canvas = this.$refs.canvas;
          return width && height && (this.shown < this.number || canvas.width !== width || canvas.height !== height);
        },
        async fetchPicture() {
          const { width, height } = this.size(), canvas = this.$refs.canvas;
          const answer = await this.trame.trigger("picture3d", [width, height]);
          if (!answer || this.isGone) {
            this.isGone = true;
            return;
          }
          const picture = await createImageBitmap(new Blob([answer.data], { type: "image/jpeg" }));
          canvas.width = picture.width;
          canvas.height = picture.height;
          canvas.getContext("2d").drawImage(picture, 0, 0);
          picture.close();
          this.shown = answer.number;
        },
        // Turns by all that has been asked for since the last call.
        async turn(right, up, steps) {
          this.turned = [this.turned[0] + right, this.turned[1] + up, this.turned[2] + steps];
          if (this.isTurning) return;
          this.isTurning = true;
          while (this.turned.some((one) => one)) {
            const now = this.turned;
            this.turned = [0, 0, 0];
            await this.trame.trigger("turn3d", now);
          }
          this.isTurning = false;
        },
        down(event) {
          this.$el.focus({ preventScroll: true });
          this.$el.setPointerCapture(event.pointerId);
          this.last = [event.clientX, event.clientY];
        },
        move(event) {
          if (!this.last) return;
          this.turn((event.clientX - this.last[0]) * DEG_PER_PX, (event.clientY - this.last[1]) * DEG_PER_PX, 0);
          this.last = [event.clientX, event.clientY];
        },
        up() { this.last = null; },
        wheel(event) { this.turn(0, 0, -event.deltaY / WHEEL_STEP); },
        key(event) {
          const step = { ArrowLeft: [-10, 0, 0], ArrowRight: [10, 0, 0], ArrowUp: [0, -10, 0], ArrowDown: [0, 10, 0], "+": [0, 0, 1], "-": [0, 0, -1] }[event.key];
          if (!step) return;
          event.preventDefault();
          this.turn(...step);
        },
      },
    });
  },
};
