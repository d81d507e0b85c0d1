from cpcnn.layers import Input, Conv2D, MaxPooling2D, Flatten, Dense
from cpcnn.models import Model
from cpcnn.optimizers import Adam
from cpcnn.losses import categorical_crossentropy
from cpcnn.preprocessing.image import ImageDataGenerator

train = ImageDataGenerator(rescale=1.0 / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)
test = ImageDataGenerator(rescale=1.0 / 255)
train_data = train.flow_from_directory("images/train", target_size=(224, 224), batch_size=32, class_mode="categorical")
test_data = test.flow_from_directory("images/test", target_size=(224, 224), batch_size=32, class_mode="categorical", shuffle=False)
img_input = Input(shape=(224, 224, 3))
x = Conv2D(32, (3, 3), activation="relu", input_shape=(224, 224, 3))(img_input)
x = MaxPooling2D(pool_size=(2, 2))(x)
x = Flatten()(x)
out = Dense(train_data.num_classes, activation="softmax")(x)
model = Model(inputs=img_input, outputs=out)
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy", "recall"])  # or Adam(), categorical_crossentropy
model.fit(train_data, epochs=3, validation_data=test_data)
print(model.evaluate(test_data, return_dict=True))
