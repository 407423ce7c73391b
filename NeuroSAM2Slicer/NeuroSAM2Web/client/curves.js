// The curves of a training run, drawn from corners and marks that the server has laid out.
window.NeuroSAM2Curves = {
  install(app) {
    app.component("ns-curves", {
      props: { drawing: Object },
      computed: {
        sentence() {
          const { last_loss, last_dice } = this.drawing;
          return `Loss ${last_loss}` + (last_dice ? `, Dice on checked cases ${last_dice}` : "");
        },
        last() { return this.drawing.dice.split(" ").at(-1).split(","); },
      },
      template: `
        <svg class="ns-curves" role="img" :aria-label="sentence" :viewBox="'0 0 ' + drawing.box.width + ' ' + drawing.box.height">
          <line v-for="mark in drawing.losses" :key="'g' + mark.place" :y1="mark.place" :y2="mark.place"
            :x1="drawing.box.left" :x2="drawing.box.right" />
          <text v-for="mark in drawing.losses" :key="'l' + mark.place" text-anchor="end"
            :x="drawing.box.left - 5" :y="mark.place + 3">{{ mark.text }}</text>
          <text v-for="mark in drawing.dices" :key="'d' + mark.place" :x="drawing.box.right + 5" :y="mark.place + 3">{{ mark.text }}</text>
          <text v-for="mark in drawing.steps" :key="'s' + mark.place" text-anchor="middle"
            :x="mark.place" :y="drawing.box.bottom + 15">{{ mark.text }}</text>
          <polyline class="ns-loss" data-test="loss" :points="drawing.loss" />
          <polyline class="ns-dice" data-test="dice" :points="drawing.dice" />
          <circle v-if="drawing.dice" class="ns-dice-last" r="2.5" :cx="last[0]" :cy="last[1]" />
        </svg>`,
    });
  },
};
